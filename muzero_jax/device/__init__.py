"""Maps functions written for one device over all devices, and enforces an order of execution."""

"""The sections of the HTML report: each module makes the elements of one."""

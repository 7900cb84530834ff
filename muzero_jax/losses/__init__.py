"""Loss terms: functions of the parameters and a `Context`; some have parameters of their own."""

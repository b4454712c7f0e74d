"""How pure functions are spread over devices and processes."""

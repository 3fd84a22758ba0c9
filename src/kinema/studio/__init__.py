"""The studio: a web page over the functions of the command line (`kinema studio`)."""

class BadSet(Exception):
    """A set of questions, or a saved run, that cannot be used; the message is one line for people."""

"""Subscriptions: what a client may subscribe to, where notices may go, what they say, and who sends them."""

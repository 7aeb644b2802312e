"""Who asks, and what they may do.

credentials  auth keys, API keys and login ids: made, read, compared
"""

"""The deployed service under load: API calls, long debates and watchers, behind one front after the other."""

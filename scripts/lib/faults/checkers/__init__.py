"""Judges: each looks at what the clients were told, or at the cluster, and says whether a promise was kept."""

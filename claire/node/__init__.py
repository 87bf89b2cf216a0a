"""What this machine knows: the signed log, its projections and the nouns. Synchronous; no network."""

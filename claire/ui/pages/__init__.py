"""One module per noun: a page maps a snapshot to what its template shows, an action is a few lines."""

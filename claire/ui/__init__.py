"""What people and agents look at: command line, web pages, MCP."""

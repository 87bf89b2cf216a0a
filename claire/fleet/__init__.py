"""What runs on this machine: Claude Code sessions in tmux, observed and written to."""

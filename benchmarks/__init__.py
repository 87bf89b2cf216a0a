"""What Claire costs, each case beside a baseline measured in the same run."""

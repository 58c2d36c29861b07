"""Plain Ray on SeedCore's cluster. RAY_ADDRESS names the cluster; see README.md."""

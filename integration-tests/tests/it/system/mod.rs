//! Daemons, signals, databases and directories.

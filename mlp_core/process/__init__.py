"""The process: console, signals, memory, and files that survive a kill."""

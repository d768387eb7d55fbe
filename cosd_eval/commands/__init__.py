"""The command line's commands, a file each. Heavy imports are inside the commands, so that --help is instant."""

"""What a run will need and how long it will take, from programs compiled and never run."""

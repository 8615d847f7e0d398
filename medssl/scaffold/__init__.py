"""New plugin packages: a folder that installs, passes its own tests, and waits for the one thing that is new."""

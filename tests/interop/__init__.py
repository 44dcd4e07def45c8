"""openmsi and OpenMSIStream on the same topics."""

"""kinema: direct the motion in video diffusion."""

"""What is known of chips, and how many operations a program takes."""

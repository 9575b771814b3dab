"""What chips can do, what this host has of memory and CPUs, and how many operations a program takes."""

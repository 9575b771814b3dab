"""Networks from elsewhere by name: the Hugging Face Hub, the release of VRT."""

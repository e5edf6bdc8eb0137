"""Models on the Hugging Face Hub, or on any server with its protocol: upload, download, model cards."""

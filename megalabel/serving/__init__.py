"""An HTTP server that answers with trained models: `megalabel serve`; needs the extra `serve`."""

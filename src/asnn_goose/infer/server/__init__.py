"""An OpenAI-compatible server on the engine: many clients, one engine thread per student."""

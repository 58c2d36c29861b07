"""Wire models of the Cognitive service, one module a subject."""

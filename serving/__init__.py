"""From a request to an answer: the HTTP service, scoring, explanation and watching."""

"""An OpenAI-compatible server on the engine: many clients, one engine thread per student.

In come requests and packed students, out go answers, whole or as a stream, and metrics. No torch is
imported here, and no request waits in the thread that answers the network.
"""

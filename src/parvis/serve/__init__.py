"""The server: OpenAI's image API over an :class:`~parvis.engine.engine.Engine` (extra ``serve``, docs/server.md).

A request goes through ``guard`` (id, log, last resort), ``access`` (who), ``limits`` (how much), then ``images``: body
to fields (``body``, ``schema``), fields to work (``asking``), work to tickets (``service``), events to an answer
(``answer``, ``sse``).
"""

"""A gateway that is, to every client, one ComfyUI server, and runs its prompts on many.

Imports point inwards: `app` builds everything; `edge` turns HTTP into domain values and back; `flows` are the use
cases; `adapters` are Redis and the workers; `domain` decides, without I/O. Start reading at `app.py`, then
`edge/routes.py`, then follow a prompt through `flows/submit.py` and `flows/dispatch.py`.
"""

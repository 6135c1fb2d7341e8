"""OpenAI's chat completions: any chat front end asks a council as it would ask a model.

The last message of the user is debated, what stands before it is context, and the verdict is the completion. Streamed,
the debate itself comes as the model's reasoning. See https://platform.openai.com/docs/api-reference/chat.
"""

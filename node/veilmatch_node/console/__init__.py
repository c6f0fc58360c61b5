"""The data officer's page: requests in words, decisions, budgets (extra `console`: starlette, jinja2, uvicorn)."""

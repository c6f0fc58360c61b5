"""What alembic asks for: a folder with `env.py`."""

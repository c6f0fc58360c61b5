"""What alembic runs for every command: the revisions' steps, over the connection that it was given."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()

"""PostgreSQL: every statement is here, and asyncpg has no other importer but the bench."""

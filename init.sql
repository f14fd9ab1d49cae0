-- Run once by the database container, when its volume is empty. The migrations create `vector` too, so a
-- database that was made elsewhere (RDS, Aurora, the embedded server) needs nothing from this file.

CREATE EXTENSION IF NOT EXISTS vector;

-- The program makes its own ids (UUIDv7). uuid-ossp is for people who write SQL by hand, and only where the
-- server ships it: the embedded PostgreSQL has no contrib extensions.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp') THEN
        CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
    END IF;
END
$$;

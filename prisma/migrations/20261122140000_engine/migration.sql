-- The version of a source also is its etag, where the server has one, and an unfinished write is named by a token.
ALTER TABLE "file_set_item" ADD COLUMN "etag" TEXT;
ALTER TABLE "delivery" ADD COLUMN "source_etag" TEXT;
ALTER TABLE "delivery" ADD COLUMN "sink_token" JSONB;

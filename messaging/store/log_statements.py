"""The statements of the log's one transaction (messaging/store/log.py)."""


def _timer(settings: str) -> str:
    """The seconds of settings' timer, null where there is none: whatever clients wrote there, at most four weeks."""
    return f"""CASE jsonb_typeof({settings} -> 'ttl') WHEN 'number'
       THEN least(({settings} ->> 'ttl')::numeric, 4 * 7 * 86400)::bigint END"""


LOCK = f"""
SELECT id, type, last_seq, last_sent_at, members_version, member_count,
       split_part(direct_key, ':', 1)::uuid, split_part(direct_key, ':', 2)::uuid,
       {_timer("settings")}, head_hash
FROM conversations WHERE id = ANY(%b::uuid[]) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE"""

# In a snapshot taken after the lock: who is a member, what timer does the sender alone know of (0: none; a block
# withholds the settings from the other one), does the other one of a direct conversation block the sender,
# what was sent before under this key, is the target live and visible. The blocks are asked by a scalar subquery:
# PostgreSQL may turn an EXISTS into a hash of the whole table, and did, for 10 ms a batch with 20,000 blocks. For the
# same
# reason each table is looked into by a LATERAL with a LIMIT, here and below: an index probe a row, whatever the planner
# thinks of a table's size.
FACTS = f"""
SELECT clock_timestamp(), m.id IS NOT NULL,
       CASE WHEN m.withheld_settings IS NOT NULL THEN coalesce({_timer("m.withheld_settings")}, 0) END,
       (SELECT 1 FROM blocks x WHERE x.blocked_id = i.sender_id AND x.user_id =
           CASE split_part(c.direct_key, ':', 1)::uuid WHEN i.sender_id THEN split_part(c.direct_key, ':', 2)::uuid
           ELSE split_part(c.direct_key, ':', 1)::uuid END) IS NOT NULL,
       k.message_id, k.conversation_id, k.seq, k.sent_at, k.expires_at, k.fingerprint,
       i.reply_to IS NULL OR EXISTS (
           SELECT 1 FROM messages t WHERE t.id = i.reply_to AND t.conversation_id = i.conversation_id
           AND NOT t.is_deleted AND t.message_type IN ('text', 'media', 'ephemeral')
           AND (t.sender_id = i.sender_id OR NOT t.withheld)
           AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
           AND (t.seq >= m.joined_seq OR EXISTS (
               SELECT 1 FROM member_spans s WHERE s.conversation_id = t.conversation_id
               AND s.user_id = i.sender_id AND t.seq BETWEEN s.from_seq AND s.to_seq)))
FROM ROWS FROM (json_to_recordset(%b::json)
     AS (conversation_id uuid, sender_id uuid, client_random bigint, reply_to uuid)) WITH ORDINALITY
     AS i(conversation_id, sender_id, client_random, reply_to, ord)
LEFT JOIN LATERAL (SELECT * FROM conversations c WHERE c.id = i.conversation_id LIMIT 1) c ON true
LEFT JOIN LATERAL (SELECT * FROM members m WHERE m.conversation_id = i.conversation_id AND m.user_id = i.sender_id
                   AND m.left_seq IS NULL LIMIT 1) m ON true
LEFT JOIN LATERAL (SELECT * FROM send_keys k WHERE k.sender_id = i.sender_id AND k.client_random = i.client_random
                   LIMIT 1) k ON true
ORDER BY i.ord"""

WRITE = """
WITH fresh AS (
    SELECT id, conversation_id, seq, sender_id, sender_device_id, message_type, decode(content, 'base64') AS content,
           metadata, client_random, reply_to_id, target_id, media_id, decode(signature, 'base64') AS signature, sent_at,
           expires_at, decode(fingerprint, 'base64') AS fingerprint, with_statuses, draft_before, ttl_after_read,
           decode(chain_hash, 'base64') AS chain_hash
    FROM json_to_recordset(%b::json) AS f(id uuid, conversation_id uuid, seq bigint, sender_id uuid,
        sender_device_id uuid, message_type text, content text, metadata jsonb, client_random bigint, reply_to_id uuid,
        target_id uuid, media_id text, signature text, sent_at timestamptz, expires_at timestamptz, fingerprint text,
        with_statuses boolean, draft_before timestamptz, ttl_after_read integer, chain_hash text)
), entries AS (
    INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, message_type, content, metadata,
        client_random, reply_to_id, target_id, media_id, signature, sent_at, expires_at, ttl_after_read, chain_hash,
        is_deleted, delete_for_everyone)
    SELECT id, conversation_id, seq, sender_id, sender_device_id, message_type, content, metadata,
        client_random, reply_to_id, target_id, media_id, signature, sent_at, expires_at, ttl_after_read, chain_hash,
        false, false FROM fresh
), keys AS (
    INSERT INTO send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at, expires_at)
    SELECT id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at, expires_at FROM fresh
), statuses AS (
    INSERT INTO delivery_statuses (message_id, user_id)
    SELECT f.id, m.user_id FROM fresh f
    CROSS JOIN LATERAL (SELECT m.user_id FROM members m WHERE m.conversation_id = f.conversation_id
                        AND m.left_seq IS NULL AND m.user_id <> f.sender_id OFFSET 0) m
    WHERE f.with_statuses
), cleared AS (
    DELETE FROM drafts d USING fresh f WHERE d.user_id = f.sender_id AND d.conversation_id = f.conversation_id
    AND d.changed_by = f.sender_device_id AND d.changed_at <= f.draft_before
    RETURNING f.id, d.revision
), heads AS (
    UPDATE conversations c SET (last_seq, last_sent_at, head_hash) = (
        SELECT f.seq, f.sent_at, f.chain_hash FROM fresh f WHERE f.conversation_id = c.id ORDER BY f.seq DESC LIMIT 1)
    WHERE c.id = ANY(%b::uuid[])
), outbox AS (
    INSERT INTO push_outbox (conversation_ids, from_seqs)
    SELECT o.ids, o.seqs FROM (SELECT %b::uuid[] AS ids, %b::bigint[] AS seqs) o WHERE o.ids <> '{}'
)
SELECT id, revision FROM cleared"""


# The key of a reaction that changed nothing: no entry, so seq 0, and an id that no entry has. A resend is answered the
# same, whatever became of the reaction since (docs/protocol.md §8.2).
UNCHANGED = """
INSERT INTO send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at)
SELECT f.*, 0, clock_timestamp()
FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[], %b::bytea[], %b::uuid[]) AS f"""

WITHHOLD = "UPDATE messages SET withheld = true WHERE id = ANY(%b::uuid[])"

# The outbox row by which the media service learns of the message (specification §9.2).
LINK_MEDIA = """
INSERT INTO media_links (media_id, message_id, conversation_id, attempts, next_try_at)
SELECT *, 0, clock_timestamp() FROM unnest(%b::text[], %b::uuid[], %b::uuid[])"""

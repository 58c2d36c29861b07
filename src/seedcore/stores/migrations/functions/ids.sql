-- Ids of tasks, which are in the order of time.

-- UUID version 7 (RFC 9562 §5.7): ids sort by time, so new rows go to the right edge of every index.
create or replace function seedcore.new_id() returns uuid language sql volatile parallel safe as $$
  select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
    52, 1), 53, 1), 'hex')::uuid
$$;

-- The smallest id that a task made at that moment can have.
create or replace function seedcore.first_id(moment timestamptz) returns uuid language sql immutable parallel safe as $$
  select (lpad(to_hex(floor(extract(epoch from moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

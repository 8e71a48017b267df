-- The tables of the driver tests as plain ones; through the gate `customers` is sealed instead.
CREATE TABLE customers (
    id bigint PRIMARY KEY, client_id int NOT NULL, name text, kana text, phone text, email text,
    address text, birth_date text, note text,
    UNIQUE (client_id, phone)
);
CREATE TABLE calls (
    id bigserial, client_id int, started timestamptz DEFAULT now(), topic text
);
CREATE TABLE things (
    id bigint PRIMARY KEY, driver text NOT NULL, amount numeric, tags text[], numbers int[], bytes bytea,
    document jsonb, raw json, day date, flag boolean
);

-- The tables of the driver tests as plain ones; through the gate `customers` is sealed instead.
CREATE TABLE customers (
    id bigint NOT NULL, client_id int NOT NULL, name text, kana text, phone text, email text,
    address text, birth_date text, note text
);
CREATE TABLE calls (
    id bigserial, client_id int, started timestamptz DEFAULT now(), topic text
);

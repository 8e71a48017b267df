COPY customers (client_id, name, phone) FROM STDIN
--
COPY public.customers FROM stdin WITH (FORMAT csv, HEADER true, DELIMITER ';', NULL 'x', QUOTE '''', ESCAPE E'\\')
--
COPY customers (name) FROM STDIN CSV HEADER
--
COPY customers (name) FROM STDIN (FORMAT csv, HEADER match)
--
COPY customers FROM STDIN WITH BINARY
--
COPY BINARY customers FROM STDIN
--
COPY customers FROM STDIN (FORMAT binary)
--
COPY customers FROM '/tmp/x'
--
COPY customers FROM PROGRAM 'cat'
--
COPY customers FROM STDIN WHERE status = 'x'
--
COPY customers FROM STDIN (FORCE_NULL (name))
--
COPY customers FROM STDIN (ENCODING 'SJIS')
--
COPY customers FROM STDIN (ENCODING 'UTF8', FREEZE)
--
COPY customers (nothing) FROM STDIN
--
COPY calls FROM STDIN DELIMITER '|' NULL AS ''
--
COPY callers (either) FROM STDIN
--
COPY accounts FROM STDIN
--
COPY accounts FROM '/tmp/customers'
--
COPY customers TO STDOUT
--
COPY public.customers (id, client_id, name, phone, email, status) TO stdout;
--
COPY customers TO STDOUT (FORMAT csv, HEADER)
--
COPY customers TO STDOUT (FORMAT binary)
--
COPY customers TO '/tmp/x'
--
COPY customers TO PROGRAM 'cat'
--
COPY (SELECT phone FROM customers WHERE phone = '090') TO STDOUT
--
COPY (SELECT lower(phone) FROM customers) TO STDOUT
--
COPY (DELETE FROM customers RETURNING phone) TO STDOUT

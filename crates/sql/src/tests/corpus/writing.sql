INSERT INTO customers (client_id, name, phone, email) VALUES (5, 'Yamada', '090', NULL)
--
INSERT INTO customers (client_id, name, phone) VALUES (5, 'Yamada', '090'), ($1, $2, $3), ('6', E'a\'b', DEFAULT)
--
INSERT INTO customers VALUES (1, 5, 'Yamada', '090', 'a@b.jp', 'open')
--
INSERT INTO customers VALUES (1, 5)
--
INSERT INTO customers (name, phone) VALUES ('Yamada', '090')
--
INSERT INTO customers (id, status) VALUES (1, 'open')
--
INSERT INTO customers DEFAULT VALUES
--
INSERT INTO customers (client_id, phone) VALUES ((SELECT 5), '090')
--
INSERT INTO customers (client_id, phone) VALUES (5, '090') ON CONFLICT (phone) DO NOTHING
--
INSERT INTO customers (client_id, phone) VALUES (5, '090') ON CONFLICT (phone) DO UPDATE SET phone = excluded.phone, name = 'x', status = 'y' WHERE customers.phone = '080' RETURNING id, phone
--
INSERT INTO customers AS c (client_id, phone) VALUES (5, '090') ON CONFLICT (phone) DO UPDATE SET name = c.name
--
INSERT INTO customers (client_id, name) VALUES (5, 'x') ON CONFLICT (name) DO NOTHING
--
INSERT INTO customers (client_id, phone) VALUES (5, '090') ON CONFLICT ON CONSTRAINT customers_phone_key DO NOTHING RETURNING *
--
INSERT INTO customers (client_id, name) VALUES (5, upper('x'))
--
INSERT INTO customers (client_id, name) VALUES (5, 'a' || $1)
--
INSERT INTO customers (client_id, name) VALUES (5, coalesce($1, 'unknown'))
--
INSERT INTO customers (client_id, name) VALUES (5, nullif($1, ''))
--
INSERT INTO customers (client_id, phone) VALUES (5, nullif($1, '090'))
--
INSERT INTO customers (client_id, name) VALUES (5, CASE WHEN $1 THEN 'a' ELSE $2 END)
--
INSERT INTO customers (client_id, name, status) VALUES (5, $1, $1)
--
INSERT INTO customers (client_id, name, phone) VALUES (5, $1::text, CAST($2 AS varchar))
--
INSERT INTO customers (client_id, name) VALUES (5, $1::varchar(20))
--
INSERT INTO customers (client_id, name) VALUES (5, 12345)
--
INSERT INTO customers (client_id, surname) VALUES (5, 'x')
--
INSERT INTO customers (client_id, phone) SELECT 5, caller FROM calls
--
INSERT INTO customers (client_id, name) SELECT 5, caller FROM calls
--
INSERT INTO customers (client_id, name, phone) SELECT 5, 'Yamada', $1
--
INSERT INTO customers (client_id, phone) SELECT 5, phone FROM phone_book
--
INSERT INTO customers (client_id, phone) SELECT * FROM (VALUES (5, '090')) v
--
INSERT INTO customers (client_id, phone) SELECT 5, p FROM (VALUES ('090')) v (p)
--
INSERT INTO customers (client_id, phone) SELECT 5, unnest($1::text[])
--
INSERT INTO customers SELECT * FROM customers
--
INSERT INTO customers (client_id, phone) SELECT 5, '090' UNION ALL SELECT 6, '080'
--
INSERT INTO customers (client_id, status) SELECT 5, phone FROM customers
--
INSERT INTO backup (phone) SELECT phone FROM customers WHERE phone = '090'
--
INSERT INTO backup VALUES ('090')
--
WITH new AS (INSERT INTO customers (client_id, phone) VALUES (5, '090') RETURNING id, phone) SELECT * FROM new WHERE phone = '080'
--
INSERT INTO vip."Gold Members" VALUES ('090')
--
INSERT INTO calls (caller, note) VALUES ('090', 'called at ten')
--
INSERT INTO callers (tel) VALUES ('090')
--
INSERT INTO callers (either) VALUES ('090')
--
INSERT INTO customers (client_id, phone) VALUES (5, 'sealed:BAABAAAB')
--
UPDATE customers SET phone = '090' WHERE id = 1
--
UPDATE customers SET phone = $1, name = $2 WHERE id = 1 AND client_id = 5
--
UPDATE customers SET phone = '090' WHERE client_id = $1 AND phone = '080'
--
UPDATE customers SET (phone, status) = ('090', 'x') WHERE client_id = 5
--
UPDATE customers SET (phone, email) = (SELECT caller, NULL FROM calls LIMIT 1) WHERE client_id = 5
--
UPDATE customers SET (phone, email) = (SELECT tel, mail FROM phone_book LIMIT 1) WHERE client_id = 5
--
UPDATE customers SET client_id = 6, phone = '090' WHERE client_id = 5
--
UPDATE customers c SET phone = k.caller FROM calls k WHERE k.id = c.id
--
UPDATE customers SET status = phone WHERE id = 1
--
UPDATE customers SET phone = status WHERE client_id = 5
--
UPDATE customers SET phone = email WHERE client_id = 5
--
UPDATE customers SET phone = DEFAULT, name = NULL
--
UPDATE customers SET phone = phone
--
UPDATE customers SET name = name || '!' WHERE client_id = 5
--
UPDATE customers SET status = 'closed' WHERE phone = '090' RETURNING name, phone
--
UPDATE customers SET phone = coalesce($1, phone) WHERE client_id = 5
--
UPDATE customers SET phone = (SELECT '090') WHERE client_id = 5
--
UPDATE customers SET phone[1] = 'a' WHERE client_id = 5
--
UPDATE accounts SET phone = '090' WHERE id IN (SELECT id FROM customers WHERE phone = '090')
--
UPDATE ONLY customers SET status = 'x' WHERE CURRENT OF c
--
UPDATE callers SET tel = '090'
--
DELETE FROM customers WHERE phone = '090' RETURNING *
--
DELETE FROM customers USING calls WHERE caller = phone AND caller = $1
--
DELETE FROM customers WHERE name = 'x'
--
DELETE FROM accounts USING customers c WHERE c.id = accounts.id RETURNING c.phone
--
MERGE INTO customers c USING calls k ON k.id = c.id WHEN MATCHED THEN DELETE
--
MERGE INTO accounts a USING customers c ON a.id = c.id WHEN MATCHED THEN UPDATE SET x = 1
--
MERGE INTO accounts a USING b ON a.id = b.id WHEN MATCHED THEN DELETE
--
WITH gone AS (DELETE FROM customers WHERE client_id = 5 RETURNING *) INSERT INTO archive SELECT * FROM gone
--
TRUNCATE customers
--
INSERT INTO customers (client_id, phone) VALUES (5, '090'), (6, '080') ON CONFLICT (phone) DO UPDATE SET name = 'x'

SELECT name FROM customers WHERE phone = '090-1234-5678'
--
SELECT name FROM public.customers c WHERE c.phone = $1
--
SELECT name FROM customers WHERE '090' = phone
--
SELECT name FROM customers WHERE $1 = customers.phone
--
SELECT name FROM customers WHERE phone <> '090'
--
SELECT name FROM customers WHERE phone != $1 AND status = 'open'
--
SELECT name FROM customers WHERE phone IN ('090', '080')
--
SELECT name FROM customers WHERE phone IN ('090')
--
SELECT name FROM customers WHERE phone IN ('090', $1, $2)
--
SELECT name FROM customers WHERE phone NOT IN ($1, '080', NULL)
--
SELECT name FROM customers WHERE phone IN ($1)
--
SELECT name FROM customers WHERE phone = ANY ($1)
--
SELECT name FROM customers WHERE phone = ANY ($1::text[])
--
SELECT name FROM customers WHERE phone = ANY ('{090,"0 80",NULL}')
--
SELECT name FROM customers WHERE phone <> ALL (ARRAY['090', '080'])
--
SELECT name FROM customers WHERE phone = ANY (ARRAY[$1, '080'])
--
SELECT name FROM customers WHERE phone <> ANY (ARRAY['090'])
--
SELECT name FROM customers WHERE phone IS NOT DISTINCT FROM '090'
--
SELECT name FROM customers WHERE phone IS DISTINCT FROM $1
--
SELECT name FROM customers WHERE phone IS NOT DISTINCT FROM $1
--
SELECT name FROM customers WHERE phone IS DISTINCT FROM NULL
--
SELECT name FROM customers WHERE phone = NULL OR phone IS NULL OR name IS NOT NULL OR phone ISNULL
--
SELECT name FROM customers WHERE $1 IS NULL OR phone = $1
--
SELECT name FROM customers WHERE $1::text IS NULL OR phone = $1::text
--
SELECT name FROM customers WHERE phone = $1 OR status = $1
--
SELECT name FROM customers WHERE phone = $1 OR email = $1
--
SELECT name FROM customers WHERE client_id = 5 AND phone = '090'
--
SELECT name FROM customers WHERE phone = $1 AND (client_id = $2 AND TRUE)
--
SELECT name FROM customers c JOIN accounts a ON a.id = c.id AND c.client_id = 6 WHERE c.phone = '090'
--
SELECT name FROM customers WHERE client_id = 5 OR phone = '090'
--
SELECT name FROM customers WHERE phone = CAST('090' AS text)
--
SELECT name FROM customers WHERE phone::text = text '090'
--
SELECT name FROM customers WHERE phone = coalesce('090', $1)
--
SELECT name FROM customers WHERE (phone) = ('090')
--
SELECT name FROM customers WHERE phone OPERATOR(pg_catalog.=) '090'
--
SELECT name FROM customers WHERE (client_id, phone) = (5, '090')
--
SELECT name FROM customers WHERE (client_id, phone) IN ((5, '090'), (6, '080'))
--
SELECT name FROM customers WHERE phone IN (SELECT caller FROM calls)
--
SELECT name FROM customers WHERE phone IN (VALUES ('090'), ('080'))
--
SELECT name FROM customers WHERE phone IN (SELECT tel FROM phone_book)
--
SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM calls WHERE caller = c.phone AND caller = '090')
--
SELECT c.name FROM customers c JOIN calls ON caller = phone
--
SELECT c.name FROM customers c JOIN (SELECT caller AS phone FROM calls) k USING (phone)
--
SELECT c.name FROM customers c JOIN calls k ON k.caller = c.email
--
SELECT c.name FROM customers c JOIN phone_book b ON b.tel = c.phone
--
SELECT c.name FROM customers c JOIN phone_book USING (phone)
--
SELECT * FROM customers NATURAL JOIN calls
--
SELECT name FROM customers WHERE name = 'Yamada'
--
SELECT name FROM customers WHERE name IN ('Yamada')
--
SELECT name FROM customers WHERE phone LIKE '090%'
--
SELECT name FROM customers WHERE phone NOT ILIKE $1
--
SELECT name FROM customers WHERE phone > '090'
--
SELECT name FROM customers WHERE phone BETWEEN '090' AND '091'
--
SELECT name FROM customers WHERE phone ~ '^090'
--
SELECT name FROM customers WHERE lower(email) = 'a@example.jp'
--
SELECT name FROM customers WHERE phone || '' = '090'
--
SELECT name FROM customers WHERE phone = 9012345678
--
SELECT name FROM customers WHERE phone = '090' || $1
--
SELECT name FROM customers WHERE phone::bytea = '090'
--
SELECT name FROM customers WHERE phone::varchar(5) = '090'
--
SELECT name FROM customers WHERE phone COLLATE "C" = '090'
--
SELECT "NAME" FROM "customers" WHERE "phone" = '090'
--
SELECT name FROM CUSTOMERS WHERE PHONE = '090'
--
SELECT * FROM vip."Gold Members" WHERE phone = '090'
--
SELECT * FROM "gold members" WHERE phone = '090'
--
SELECT tel FROM callers WHERE tel = '090'
--
SELECT either FROM callers WHERE either = '090'
--
SELECT either, n FROM callers WHERE either IS NULL
--
WITH k AS (SELECT phone AS p FROM customers) SELECT * FROM k WHERE p = '090'
--
WITH customers AS (SELECT 1 AS phone) SELECT * FROM customers WHERE phone = 1
--
WITH v(p) AS (VALUES ('090')) SELECT name FROM customers JOIN v ON phone = p
--
SELECT name FROM (SELECT * FROM customers) s WHERE s.phone = '090'
--
SELECT name FROM customers AS c (a, b, name, tel) WHERE tel = '090' AND b = 5
--
SELECT name FROM customers WHERE (SELECT phone FROM phone_book LIMIT 1) = '090'
--
SELECT (SELECT tel FROM phone_book WHERE phone = '090') FROM customers
--
SELECT name FROM customers WHERE CASE phone WHEN '090' THEN true ELSE false END
--
SELECT name FROM customers WHERE nullif(phone, '090') IS NULL
--
SELECT name FROM customers WHERE '090' IN (phone, email)
--
SELECT name FROM customers WHERE '090' IN (phone)
--
SELECT name FROM customers WHERE phone = '090' AND phone = '090' AND phone IN ('1','2','3','4','5','6','7','8','9','10','11','12','13','14','15')
--
SELECT name FROM customers WHERE phone = '090' AND pg_advisory_lock(1) IS NULL
--
SELECT name FROM customers WHERE phone = 'sealed:BAABAAAB'
--
SELECT * FROM find_customer('090')
--
SELECT * FROM find_customer(5)
--
SELECT 1 FROM find_customer(5) f(phone) WHERE phone = '090'
--
SELECT find_customer(id) = '090' FROM accounts
--
SELECT s.case FROM (SELECT CASE WHEN true THEN phone END FROM customers) s WHERE s.case = '090'
--
SELECT name FROM customers c WHERE c.telephone = '090'
--
SELECT name FROM customers c WHERE (c).phone = '090'
--
SELECT name FROM customers c WHERE phone(c) = '090'

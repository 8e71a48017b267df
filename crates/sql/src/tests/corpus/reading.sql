SELECT * FROM customers
--
SELECT c.* FROM customers c ORDER BY id
--
SELECT name, phone, id FROM customers ORDER BY 3 DESC LIMIT 10 OFFSET $1
--
SELECT name, phone FROM customers ORDER BY 2
--
SELECT phone AS p FROM customers ORDER BY p
--
SELECT * FROM customers ORDER BY name
--
SELECT * FROM customers ORDER BY phone IS NULL, id
--
SELECT row_to_json(c) FROM customers c
--
SELECT row_to_json(c)->>'phone' FROM customers c
--
SELECT row_to_json(c)->>'phone' = '090' FROM customers c
--
SELECT to_jsonb(c), json_build_object('p', phone), json_agg(name), jsonb_object_agg(id, phone) FROM customers c GROUP BY id, phone
--
SELECT array_agg(phone), ARRAY[phone, email], ROW(phone, 1), (array_agg(name))[1] FROM customers
--
SELECT array_agg(phone ORDER BY phone) FROM customers
--
SELECT array_agg(phone ORDER BY id) FILTER (WHERE status = 'x') OVER (PARTITION BY phone ORDER BY id) FROM customers
--
SELECT rank() OVER (ORDER BY phone) FROM customers
--
SELECT rank() OVER (PARTITION BY name) FROM customers
--
SELECT string_agg(phone, ',') FROM customers
--
SELECT count(*), count(phone), count(DISTINCT phone), count(name) FROM customers
--
SELECT count(DISTINCT name) FROM customers
--
SELECT min(phone) FROM customers
--
SELECT max(name) FROM customers
--
SELECT coalesce(phone, ''), CASE WHEN id = 1 THEN phone END, nullif(status, '') FROM customers
--
SELECT coalesce(name, 'unknown') = 'x' FROM customers
--
SELECT phone, count(*) FROM customers GROUP BY phone HAVING count(*) > 1
--
SELECT name, count(*) FROM customers GROUP BY name
--
SELECT name, count(*) FROM customers GROUP BY 1
--
SELECT phone AS p, count(*) FROM customers GROUP BY p
--
SELECT phone, status, count(*) FROM customers GROUP BY GROUPING SETS ((phone, status), ())
--
SELECT DISTINCT phone FROM customers
--
SELECT DISTINCT name FROM customers
--
SELECT DISTINCT * FROM customers
--
SELECT DISTINCT ON (phone) name, phone FROM customers
--
SELECT DISTINCT ON (name) name FROM customers
--
SELECT phone FROM customers UNION SELECT caller FROM calls
--
SELECT name FROM customers UNION SELECT note FROM calls
--
SELECT name FROM customers UNION ALL SELECT note FROM calls
--
SELECT phone FROM customers EXCEPT SELECT caller FROM calls ORDER BY 1
--
SELECT phone FROM customers INTERSECT SELECT caller FROM calls LIMIT 5
--
SELECT phone::text, name::varchar FROM customers
--
SELECT name::json FROM customers
--
SELECT upper(name), substring(name from 1 for 2) FROM customers
--
SELECT substring(name from 1 for 2) FROM customers
--
SELECT reverse(phone) FROM customers
--
SELECT md5(name) FROM customers
--
SELECT name || phone FROM customers
--
SELECT 1 AS customer_id, phone FROM customers
--
SELECT a.id, b.phone FROM customers a, customers b WHERE a.id = 1
--
TABLE customers
--
TABLE customers ORDER BY phone
--
(SELECT * FROM customers) ORDER BY id
--
SELECT * FROM (SELECT phone, name FROM customers) s (a, b) WHERE a IS NOT NULL
--
SELECT x FROM customers c, LATERAL (SELECT c.phone AS x) l
--
SELECT u FROM customers c, unnest(ARRAY[c.phone, c.email]) u
--
SELECT u FROM customers c, unnest(ARRAY[c.phone]) u WHERE u = '090'
--
SELECT key, value FROM customers c, json_each_text(row_to_json(c))
--
SELECT (SELECT phone FROM customers WHERE id = 1)
--
SELECT EXISTS (SELECT 1 FROM customers)
--
SELECT lag(phone) OVER (ORDER BY id) FROM customers
--
SELECT c FROM customers c
--
SELECT c = c FROM customers c
--
SELECT c::text FROM customers c
--
SELECT customers FROM customers
--
SELECT ctid, xmin, tableoid::regclass, phone FROM customers
--
SELECT id INTO backup FROM customers
--
SELECT * INTO backup FROM customers WHERE phone = '090'
--
CREATE TABLE backup AS SELECT * FROM customers WHERE phone = '090'
--
WITH RECURSIVE r AS (SELECT id, phone FROM customers WHERE id = 1 UNION ALL SELECT c.id, c.phone FROM customers c JOIN r ON r.phone = c.phone) SELECT * FROM r
--
SELECT * FROM customers FOR UPDATE
--
SELECT * FROM customers TABLESAMPLE system (10)
--
SELECT * FROM ONLY customers
--
SELECT j.phone FROM (customers c JOIN accounts a ON a.id = c.id) j
--
SELECT now(), name FROM customers
--
SELECT my_function(id), name FROM customers
--
SELECT format('%s', phone) FROM customers
--
SELECT concat(name) FROM customers
--
SELECT * FROM accounts, generate_series(1, 3) g WHERE accounts.phone = '090'
--
SELECT * FROM other.customers
--
SELECT 'customers' AS customers
--
SELECT customers.x FROM accounts AS customers
--
EXPLAIN (ANALYZE, COSTS OFF) SELECT name FROM customers WHERE phone = '090'
--
EXPLAIN SELECT 1
--
SELECT phone FROM customers WHERE phone IS TRUE
--
SELECT -phone FROM customers
--
SELECT * FROM customers WHERE current_setting('a') = 'b' AND set_config('a', 'b', false) = 'b'
--
SELECT json_object('p': phone) FROM customers
--
SELECT greatest(phone, '1') FROM customers
--
SELECT grouping(phone) FROM customers GROUP BY phone
--
SELECT * FROM ROWS FROM (generate_series(1, 2), find_customer(1)) AS t
--
SELECT * FROM customers c WHERE c IS NOT NULL
--
SELECT "case", name FROM (SELECT CASE WHEN true THEN 1 END FROM t) s, customers
--
SELECT nothing FROM customers
--
SELECT current_user, name FROM customers WHERE current_date > now()
--
SELECT customers.name FROM customers c

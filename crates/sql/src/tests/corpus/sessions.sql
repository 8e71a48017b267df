SET sekisho.purpose = 'ticket-5'
--
SET LOCAL sekisho.client TO 5
--
SET SESSION standard_conforming_strings TO off
--
SET client_encoding TO 'SJIS'
--
SET NAMES 'UTF8'
--
SET TIME ZONE 'Asia/Tokyo'
--
SET search_path TO a, b
--
SET search_path TO DEFAULT
--
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
--
SET ROLE crm
--
SET SESSION AUTHORIZATION crm
--
RESET sekisho.purpose
--
RESET ALL
--
RESET ROLE
--
SHOW sekisho.purpose
--
SHOW TIME ZONE
--
BEGIN; SELECT phone FROM customers WHERE phone = '090'; COMMIT; ROLLBACK; SAVEPOINT a; RELEASE a; ROLLBACK TO a; START TRANSACTION READ ONLY; END; ABORT
--
PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x'; ROLLBACK PREPARED 'x'
--
PREPARE p AS SELECT name FROM customers WHERE phone = $1 AND status = 'x'
--
PREPARE p (text, int) AS SELECT name FROM customers WHERE phone = $1 AND id = $2
--
PREPARE p (int) AS SELECT name FROM customers WHERE phone = $1
--
PREPARE p AS INSERT INTO customers (client_id, phone, name) VALUES ($1, $2, 'x')
--
PREPARE p AS SELECT 1
--
EXECUTE nobody('090')
--
DEALLOCATE p
--
DEALLOCATE PREPARE ALL
--
DECLARE c CURSOR WITH HOLD FOR SELECT phone FROM customers WHERE phone = '090'
--
DECLARE _pg_dump_cursor CURSOR FOR SELECT id FROM ONLY public.customers
--
FETCH 10 FROM c
--
CLOSE c; CLOSE ALL
--
DISCARD ALL
--
LISTEN customers; UNLISTEN *; NOTIFY a, 'customers'
--
SELECT pg_notify('a', phone) FROM customers
--
SELECT set_config('standard_conforming_strings', 'off', false)
--
SELECT name FROM customers;;  ; SELECT 1
--
SELECT name FROM customers WHERE
--
SELECT name FRM accounts
--
SELECT name FROM customers; SELEC 1
--
/* customers */ SELECT 1 -- customers
--
-- only a comment on customers
--
SET SESSION NAMES SJIS;

SELECT pg_catalog.setval('public.customers_id_seq', 1, false)
--
SELECT pg_catalog.set_config('search_path', '', false)
--
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(customers)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3
--
SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'public.customers'::pg_catalog.regclass AND a.attnum > 0
--
SELECT to_regclass('"public"."customers"')
--
SELECT pg_get_viewdef('callers'::regclass)
--
SELECT calls, total_exec_time FROM pg_stat_statements
--
SELECT s.calls FROM pg_stat_statements s ORDER BY s.calls
--
LOCK TABLE public.customers, public.calls IN ACCESS SHARE MODE
--
COPY public.customers (id, client_id, name, phone, email, status) TO stdout;
--
ALTER TABLE public.customers DISABLE TRIGGER ALL
--
ALTER TABLE ONLY public.calls ADD CONSTRAINT calls_fk FOREIGN KEY (caller) REFERENCES public.customers(phone)
--
ALTER TABLE ONLY public.customers REPLICA IDENTITY FULL
--
CREATE UNIQUE INDEX customers_phone_key ON public.customers USING btree (client_id, phone)
--
SELECT pg_catalog.pg_describe_object(1, 2, 3), 'customers'
--
EXECUTE dumpFunc('123')
--
SELECT count(*) FROM information_schema.columns WHERE table_name = 'customers'
--
INSERT INTO log (message) VALUES ('customers were here')
--
SELECT 1 AS calls
--
UPDATE stats SET calls = calls + 1 WHERE id = 5
--
SELECT query_to_xml('select * from customers', true, false, '')
--
SELECT dblink('x', 'select * from customers')
--
SELECT lo_export(1, 'customers')

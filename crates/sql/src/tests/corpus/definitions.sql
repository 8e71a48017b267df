CREATE TABLE public.customers (id bigint, client_id integer, name text, phone text, CONSTRAINT sekisho_phone_exact_1_phone CHECK (((phone ~~ 'sealed:%'::text) AND (substr(phone, 8, 4) = 'AAAB'::text) AND (substr(phone, 12, 4) = translate(encode(substr(int4send(client_id), 2), 'base64'::text), '+/'::text, '-_'::text)))))
--
CREATE TABLE customers (phone text CONSTRAINT sekisho_x CHECK (phone LIKE 'sealed:%'), status text DEFAULT 'open', id bigint DEFAULT nextval('customers_id_seq'::regclass))
--
CREATE TABLE customers (phone text DEFAULT '090')
--
CREATE TABLE customers (phone text CHECK (phone <> '090'))
--
CREATE TABLE customers (status text CHECK (status IN ('a', 'b')))
--
CREATE TABLE accounts (phone text DEFAULT '090')
--
CREATE TABLE customers_2 PARTITION OF customers FOR VALUES IN ('a')
--
ALTER TABLE ONLY public.customers ADD CONSTRAINT customers_pkey PRIMARY KEY (id)
--
ALTER TABLE customers ADD CONSTRAINT sekisho_y CHECK (phone LIKE 'sealed:%') NOT VALID
--
ALTER TABLE customers ADD CONSTRAINT other CHECK (phone LIKE 'sealed:%')
--
ALTER TABLE customers ALTER COLUMN phone SET DEFAULT '090'
--
ALTER TABLE customers ALTER COLUMN phone TYPE text USING replace(phone, 'a', 'b')
--
ALTER TABLE customers ADD COLUMN flag text DEFAULT 'x', ALTER COLUMN phone SET NOT NULL
--
ALTER TABLE customers ALTER COLUMN status SET DEFAULT 'open'
--
ALTER TABLE public.customers OWNER TO crm
--
ALTER TABLE customers RENAME COLUMN phone TO telephone
--
ALTER TABLE customers SET (autovacuum_enabled = 'off')
--
ALTER SEQUENCE public.customers_id_seq OWNED BY public.customers.id
--
CREATE INDEX ON customers (phone)
--
CREATE INDEX i ON customers (phone) WHERE status = 'open'
--
CREATE INDEX i ON customers (phone) WHERE phone <> '090'
--
CREATE INDEX i ON customers ((phone || 'x'))
--
CREATE VIEW v AS SELECT id, phone FROM customers
--
CREATE VIEW v AS SELECT id FROM customers WHERE phone = '090'
--
CREATE OR REPLACE VIEW v AS SELECT id FROM customers WHERE status = 'open'
--
CREATE MATERIALIZED VIEW v AS SELECT phone, count(*) FROM customers GROUP BY phone
--
REFRESH MATERIALIZED VIEW callers
--
CREATE RULE r AS ON INSERT TO customers DO INSTEAD NOTHING
--
CREATE RULE r AS ON INSERT TO customers DO ALSO INSERT INTO log VALUES (new.phone)
--
CREATE TRIGGER t BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION audit('customers')
--
CREATE TRIGGER t BEFORE INSERT ON customers FOR EACH ROW WHEN (new.phone = '090') EXECUTE FUNCTION audit()
--
CREATE POLICY p ON customers USING (status = 'open')
--
CREATE POLICY p ON customers USING (phone = '090')
--
CREATE STATISTICS s ON id, status FROM customers
--
COMMENT ON TABLE customers IS 'people'
--
COMMENT ON COLUMN public.customers.phone IS 'a phone'
--
GRANT SELECT ON customers TO crm
--
GRANT SELECT (phone) ON TABLE public.customers TO crm
--
REVOKE ALL ON customers FROM PUBLIC
--
VACUUM ANALYZE customers (phone)
--
ANALYZE
--
REINDEX TABLE customers
--
CLUSTER customers USING i
--
LOCK TABLE public.customers IN ACCESS SHARE MODE
--
TRUNCATE TABLE customers, calls RESTART IDENTITY CASCADE
--
DROP TABLE IF EXISTS public.customers
--
DROP VIEW callers
--
DO $$ BEGIN UPDATE customers SET phone = '090'; END $$
--
DO $$ BEGIN PERFORM count(*) FROM customers; END $$
--
DO 'BEGIN PERFORM 1; END'
--
DO LANGUAGE plpgsql $body$ BEGIN EXECUTE format($q$select '1'$q$); END $body$
--
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT name FROM customers WHERE phone = '090' $$
--
CREATE FUNCTION f(p text) RETURNS text LANGUAGE sql AS $$ SELECT name FROM customers WHERE phone = p $$
--
CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT name FROM customers WHERE phone = '090'; END
--
CREATE FUNCTION f() RETURNS text RETURN 'customers'
--
CREATE PROCEDURE f() LANGUAGE sql AS 'DELETE FROM customers'
--
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'
--
CALL find_customer('090')
--
CALL other_procedure('customers')
--
SECURITY LABEL ON TABLE customers IS 'x'
--
CREATE PUBLICATION p FOR TABLE customers WHERE (phone = '090')
--
CREATE PUBLICATION p FOR TABLE customers

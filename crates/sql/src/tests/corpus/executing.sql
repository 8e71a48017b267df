EXECUTE by_phone('090', 5)
--
EXECUTE by_phone($1, 5)
--
EXECUTE by_phone(NULL, '5')
--
EXECUTE by_phone(upper('a'), 5)
--
EXECUTE by_phone('090'::text, 5)
--
CREATE TABLE x AS EXECUTE by_phone('090', 5)
--
EXPLAIN EXECUTE by_phone('090', 5)
--
FETCH ALL FROM c
--
MOVE 5 IN c
--
FETCH c
--
FETCH FROM other

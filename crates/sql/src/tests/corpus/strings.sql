SELECT name FROM customers WHERE phone = 'a\b'
--
SELECT name FROM customers WHERE phone = 'a\'b'
--
SELECT name FROM customers WHERE phone = 'it''s' AND status = 'it''s\'
--
SELECT name FROM customers WHERE phone = E'\x41\102\u0043\U00000044\tE\\'
--
SELECT name FROM customers WHERE phone = U&'\0041\+000042'
--
SELECT name FROM customers WHERE phone = U&'!0041' UESCAPE '!'
--
SELECT name FROM customers WHERE phone = $$a'b$$
--
SELECT name FROM customers WHERE phone = $tag$a$$b$tag$
--
SELECT name FROM customers WHERE phone = N'abc' AND status = N'def'
--
SELECT name FROM customers WHERE phone = B'101'
--
SELECT name FROM customers WHERE phone = '090'
  '1234' AND status = 'a' -- x
  -- comment
  'b'
--
SELECT name FROM customers WHERE phone = E'a\n'
'\tb'
--
SELECT name FROM customers WHERE phone = E'\xff'
--
SELECT name FROM customers WHERE phone = E'a\0b'
--
SELECT name FROM customers WHERE phone = E'\ud83d\ude00'
--
SELECT name FROM customers WHERE phone = E'\ud83d'
--
SELECT name FROM customers WHERE phone = U&'\d83d\de00'
--
SELECT name FROM customers WHERE phone = U&'\0000'
--
SELECT U&"n\0061me" FROM U&"c\0075stomers" WHERE phone = '090'
--
SELECT name FROM customers /* ' */ WHERE phone = '/* */' -- '
--
SELECT name FROM customers WHERE phone='090'AND status='x'
--
SELECT name FROM customers WHERE phone = '０９０−１２３４'
--
SELECT '日本', name FROM customers WHERE lower(phone) = 'x'
--
SELECT name FROM customers WHERE phone = 'a'
'\'b'

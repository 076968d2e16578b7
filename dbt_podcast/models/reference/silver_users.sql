-- grain: one user of the reference data
{{ config(alias="users") }}
-- depends_on: {{ ref("reference_changes") }}

with

users as (

    select * from {{ reference_rows("users") }}

)

select
    cast(user_id as {{ text_type() }}) as user_id,
    cast(signup_date as date) as signup_date,
    cast(country as {{ text_type() }}) as country
from users
